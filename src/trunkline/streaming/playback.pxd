cimport cython
from trunkline.media.audio cimport level as _level
from trunkline.streaming cimport prebuffer as _prebuffer

cdef long long JOIN_LIMIT, _NEVER

cdef class Playback:
    cdef object _budget, _catch, _convert, _decode, _leg_codec, _row, _target
    cdef list _chunks, _marks
    cdef _prebuffer.Prebuffer _prebuffer
    cdef long long _ahead, _allowed, _reserved
    cdef long long _cleared, _discarded, _dry_at, _enough, _last_media, _limit, _limit_ms, _mark_limit, _offset, _packet
    cdef long long _per_ms, _played, _position, _ptime, _queued, _since
    cdef public bint short
    cdef bint _afresh, _behind, _faint, _fresh, _live, _playing, _ran_dry, _tail
    cdef public object codec
    cdef public _level.LevelMeter meter
    cdef public list returned
    cdef public bytes taken
    cpdef bint rests(self)
    cdef public long long overruns, underruns

    @cython.locals(size="long long", queued="long long", chunks=list)
    cpdef bint put(self, bytes payload)

    @cython.locals(queued="long long")
    cpdef bytes next_frame(self, long long at)

    @cython.locals(received="long long")
    cpdef _arrived(self, long long at)

    cpdef bint _starts(self, long long queued, long long at)

    @cython.locals(frame=bytes)
    cpdef bytes _take(self, long long count)

    @cython.locals(chunks=list, start="long long", missing="long long")
    cpdef bytes _cut(self, long long count)
