"""``st8ctl``, the command line. ``main`` starts it; a command is a file."""
