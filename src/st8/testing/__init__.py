"""What tests of st8, and of what is built on it, are made of.

``contract`` is the suite that every store must pass, ``model`` the plainest reading
of what st8 promises and ``machine`` what compares it with the real thing, ``clock``
and ``faulty`` are a clock and a store that do as a test says, ``server`` is a daemon
within the process. ``contract`` and ``machine`` need pytest and hypothesis, which
st8 itself does not.
"""
