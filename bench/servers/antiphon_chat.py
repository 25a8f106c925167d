"""antiphon with the two classic callbacks."""

from _application import make_channel
from _listening import parser, serve

from antiphon import asynchat, asyncore

serve(asyncore, make_channel(asynchat.async_chat), parser().parse_args().port)
