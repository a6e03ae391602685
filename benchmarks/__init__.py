"""How fast training is, compared with other code and with the limits of the machine: `make bench`."""
