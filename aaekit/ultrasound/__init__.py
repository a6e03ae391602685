"""The artery simulator: frames of intravascular ultrasound from tissue maps."""
