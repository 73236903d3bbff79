cdef enum:
    LIMIT = 2048

cpdef (int, int, long long, long long) unpack_rtp(bytes datagram)
cpdef bytes payload(bytes datagram, Py_ssize_t start)
cpdef bytes pack_rtp(int first, int sequence, long long timestamp, long long ssrc, bytes payload)
cpdef bytes encode_media(bytes prefix, long long sequence, long long chunk, long long timestamp, bytes payload)
cpdef bytes decode_media_fast(bytes message)
cpdef pack_entry(bytearray journal, Py_ssize_t start, long long at, bint outbound, long long missing, bytes payload)
cpdef (long long, bint, int, long long) unpack_entry(bytearray journal, Py_ssize_t start)
