"""The simulator in the box: one real call through a real server, watched and checked by somebody who is not the server.

`trunkline demo` starts `trunkline serve` as a child, calls it over SIP and RTP (`caller`), has the call streamed to a
sample app (`app`) through the official SDK, receives the status callbacks (`callbacks`), shows what flows (`show`) and
says honestly whether it worked (`verdict`). Nothing here imports the server's rooms: both sides know only the wire.
"""
