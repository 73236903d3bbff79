from trunkline.media cimport inbound as _inbound
from trunkline.media cimport outbound as _outbound

cdef class Leg:
    cdef object __weakref__
    cdef object _channel, _cname, _early_rtcp, _local_port, _params, _reception, _rtcp_source, _last_channel, _settings
    cdef object _silence_reported, _held
    cdef tuple _taps
    cdef bint _had_listener, _unconfirmed
    cdef double _look_at, _unlatch_at, _opened, _wait_until, _rtcp_at, _silence_at, _trial_at, _watched_since
    cdef long long _packets_reported, _rtcp_out
    cdef public _inbound.Inbound inbound
    cdef public _outbound.Outbound outbound
    cdef public double deadline
    cdef public object id, source
    cdef public long long receive_errors, send_errors

    cpdef receive(self, bytes datagram, double now)

    cpdef bytes next_packet(self)
