cdef class Clock:
    cdef double _floor, _lowest
    cdef long long _disputed, _doubts, _units
    cdef public bint ahead, restarted
    cdef public long long held_back

    cpdef long long advance(self, long long step, long long length, long long missing, double late, long long frames)

    cpdef long long follow(self, double least, long long frames, long long length)
