"""How fast training is, beside other code and beside the machine's own limits: `make bench`."""
