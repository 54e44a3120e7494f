"""Training of ANNs, and of readouts by STDP."""
