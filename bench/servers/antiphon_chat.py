"""antiphon with the two classic callbacks."""

from _application import make_channel
from _listening import parser, serve, tls_context

from antiphon import asynchat, asyncore

options = parser().parse_args()
serve(asyncore, make_channel(asynchat.async_chat), options.port, tls_context(options.tls))
