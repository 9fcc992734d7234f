"""`doctor`: what about this machine would get in the way, and how to mend it."""


def report() -> int:
    return 0
