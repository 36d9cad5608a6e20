"""The command line, a file a command group: each command stands beside what it prints.

Importing the package imports every module in it, and a module adds its commands to ``app.main``: nothing is listed
anywhere else. What takes long to import is imported inside the command that needs it.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
