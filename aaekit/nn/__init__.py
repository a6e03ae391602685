"""Networks: encoders, decoders, and what lies between."""
