cimport cython
from trunkline cimport speedups
from trunkline.media.audio cimport level as _level
from trunkline.streaming cimport playback as _playback
from trunkline.streaming cimport session as _session

cdef class MessageHandler:
    cdef object _codec, _convert, _extensions, _files, _press, _settings
    cdef _level.LevelMeter _raw
    cdef _playback.Playback _playback
    cdef _session.Session _session
    cdef long long _reported, _reported_at
    cdef public long long bytes, complaints, messages

    @cython.locals(queued="long long")
    cpdef bytes backlog(self, long long at)

    @cython.locals(payload=bytes)
    cpdef list text(self, data, object now)

    cpdef list due_marks(self, bint cleared=*)

    cpdef _media(self, bytes payload, now)

    cpdef _put(self, bytes payload)
