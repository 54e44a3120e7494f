"""The fast engine: the spikes of the plain engine in less time.

It computes several timesteps of a layer at once, goes by spike counts where that is enough, and
computes constant currents once. It knows layers; the plain engine does not.
"""
