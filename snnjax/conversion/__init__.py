"""From an ANN to a spiking network: folding, scales, methods, calibration, tracing."""
