"""Networks of the user's own: found norms are replaced, and what comes out trains like any other.

:mod:`kinds` says which modules are norms, :mod:`survey` finds them and their shapes by one forward
pass, :mod:`replace` puts another norm in their place, and :mod:`network` is the module that the
engines see.
"""
