cimport cython
from trunkline cimport sockets, speedups
from trunkline.media cimport leg as _leg
from trunkline.media cimport outbound as _outbound

cdef int RING, SLOT_MS

cdef class RtpTransport:
    cdef object _rtcp, _rtp
    cdef int _fd
    cdef bint _connected
    cdef public _leg.Leg leg
    cdef public object port
    cdef public bint open

    cpdef read(self, int fd)

    cpdef handle(self, object got, object now)

    cpdef send(self, bytes packet)

cdef class Engine:
    cdef object _family, _loop, _on_event, _poller, _pool, _settings, _timer
    cdef dict _readers
    cdef set _waiting
    cdef list _ring
    cdef long long _slot
    cdef double _due, _drained, _wall
    cdef bint _letting_in
    cdef public dict _bridges, _transports, counters
    cdef public object lag

    @cython.locals(now=double, rounds=int, batches=int, got=int)
    cpdef _drain(self)

    @cython.locals(fd=int, transport=RtpTransport, ready=list, batch=list)
    cpdef int _drain_batch(self, object now) except -1

    @cython.locals(slot="long long")
    cpdef _advance(self, double now)

    @cython.locals(transports=list, transport=RtpTransport, leg=_leg.Leg, outbound=_outbound.Outbound, packets=list, packet=bytes, ring=list)
    cpdef _run_slot(self, long long slot, object now)
