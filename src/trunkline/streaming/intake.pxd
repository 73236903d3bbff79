cdef class Intake:
    cdef object _library, _library_updated, _owner
    cdef public object get_buffer
    cdef public long long allowed, unfinished

    cpdef buffer_updated(self, long long nbytes)
