"""All that we dial for customers: documents, sounds, callbacks and the sockets of streams.

    URL ──urls──► place ──names──► addresses ──dialler: check──► connected socket ──client──► one request, one answer
                                                                       └──► streaming/socket.py: a WebSocket

* A name is looked up without a thread and kept for its TTL. Its addresses may be checked before one is
  dialled: what was checked is what is connected to. The Host header, TLS's server name and certificate stay the name's.
* Nothing is kept from request to request but idle connections, of one account each: no cookies, no credentials, no
  redirections. What a call may keep (`cookies`) is the call's.
* Requests wait in one queue per account (`turns`), so that accounts do not wait for each other.
"""
