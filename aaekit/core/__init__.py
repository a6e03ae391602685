"""The training loop: minibatches, phases, schedules. It knows nothing of autoencoders."""
