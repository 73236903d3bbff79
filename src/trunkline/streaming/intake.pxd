cdef class Intake:
    cdef object _library, _owner
    cdef public object get_buffer
    cdef public long long allowed, unfinished

    cpdef buffer_updated(self, long long nbytes)
