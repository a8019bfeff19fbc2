"""`warpload doctor`: what of this machine, its libraries and a place on its disks a load depends on, with advice."""
