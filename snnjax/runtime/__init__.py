"""The platform: algorithms of convolutions, devices, memory, compilation cache, argument checks."""
