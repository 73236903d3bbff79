cimport cython
from trunkline cimport sockets
from trunkline.streaming cimport intake as _intake
from trunkline.streaming cimport session as _session
from trunkline.streaming cimport throttle as _throttle
from trunkline.streaming.session cimport MessageSink

cdef long long COPIED

cdef class Sender:
    cdef public object dialler
    cdef public list waiting

    cpdef soon(self)

    @cython.locals(waiting=list, to=AppSocket, message=bytes)
    cpdef flush(self)

cdef class AppSocket(MessageSink):
    cdef object _account, _auth_token, _dialling, _fragmented, _fragments, _owner, _pong_due, _reader, _settings, _sock, _time
    cdef object _transport, _url
    cdef object _budget
    cdef _intake.Intake _intake
    cdef long long _limit
    cdef Sender _sender
    cdef _throttle.Throttle _throttle
    cdef dict _timers
    cdef int _fd
    cdef bint _open, _paused, _resting, _warned
    cdef public object write

    cpdef media(self, bytes message, long long at)

    @cython.locals(rest=bytes)
    cpdef push(self, bytes message)

    cpdef control(self, bytes message)

    @cython.locals(size="long long")
    cpdef receive(self, frame)

    cpdef _on_message(self, kind, message, object now)
