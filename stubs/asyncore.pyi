# What `import asyncore` is to a type checker: that module is an alias, which only running it tells.
import os as os
import select as select
import socket as socket
import sys as sys
import time as time
import warnings as warnings

from antiphon.asyncore import *
from antiphon.asyncore import _DISCONNECTED as _DISCONNECTED
from antiphon.asyncore import _exception as _exception
