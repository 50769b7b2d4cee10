"""The pure heart of st8: values, canonical bytes, the state tree, limits, errors.

Nothing in this package does I/O, reads a clock or looks at the environment, so
every function here gives the same answer for the same arguments, for ever.
"""
