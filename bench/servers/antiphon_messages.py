"""antiphon.MessageChannel: one call for all the messages that a read completes."""

from _application import make_message_channel
from _listening import parser, serve

from antiphon import MessageChannel, asyncore

serve(asyncore, make_message_channel(MessageChannel), parser().parse_args().port)
