# What `import asynchat` is to a type checker: that module is an alias, which only running it tells.
from antiphon.asynchat import *
