"""`sockets.py` in C. That file is the reference."""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_SetFromErrno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from trunkline.speedups cimport LIMIT

cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    Py_ssize_t c_recv "recv"(int, void*, size_t, int)
    Py_ssize_t c_send "send"(int, const void*, size_t, int)

# Where there is no epoll(7) the set is a `Poll` of portable.py, which has no descriptor.
cdef extern from * nogil:
    """
    #ifdef __linux__
    #include <sys/epoll.h>
    #else
    #include <stdint.h>
    typedef union { int fd; } epoll_data_t;
    struct epoll_event { uint32_t events; epoll_data_t data; };
    static int epoll_wait(int set, struct epoll_event* events, int most, int timeout) { return -1; }
    #endif
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0
    #endif
    """
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_wait(int, epoll_event*, int, int)

cdef enum:
    MOST_READY = 64
    FRAME_HEADER = 8


cpdef list ready(object poller, int most):
    cdef epoll_event events[MOST_READY]
    cdef int fd = poller.fileno()
    if most > MOST_READY:
        most = MOST_READY
    if fd < 0:
        return [each for each, _ in poller.poll(0, most)]
    cdef int count = epoll_wait(fd, events, most, 0), place
    if count < 0:
        PyErr_SetFromErrno(OSError)
    return [events[place].data.fd for place in range(count)]


cpdef bytes receive(int fd):
    cdef char datagram[LIMIT]
    cdef Py_ssize_t size = c_recv(fd, datagram, LIMIT, MSG_DONTWAIT)
    if size < 0:
        PyErr_SetFromErrno(OSError)
    return PyBytes_FromStringAndSize(datagram, size)


cpdef send(int fd, bytes datagram):
    if c_send(fd, PyBytes_AS_STRING(datagram), len(datagram), MSG_DONTWAIT) < 0:
        PyErr_SetFromErrno(OSError)


cdef enum:
    KEYS = 4096

cdef bytes keys = b""
cdef Py_ssize_t next_key = 0


cdef inline uint32_t masking_key() except? 0:
    """Unpredictable (RFC 6455 section 5.3): from os.urandom, 1024 keys at a time."""
    global keys, next_key
    cdef uint32_t key
    if next_key == len(keys):
        keys, next_key = os.urandom(KEYS), 0
    memcpy(&key, PyBytes_AS_STRING(keys) + next_key, sizeof(key))
    next_key += sizeof(key)
    return key


cpdef bytes send_text(int fd, bytes message):
    cdef char room[4096]
    cdef Py_ssize_t size = len(message)
    cdef bytes long_one = None
    cdef uint8_t* frame = <uint8_t*>room
    if size + FRAME_HEADER > 4096:
        long_one = PyBytes_FromStringAndSize(NULL, size + FRAME_HEADER)
        frame = <uint8_t*>PyBytes_AS_STRING(long_one)
    cdef uint8_t* out = frame
    out[0] = 0x81
    if size < 126:
        out[1] = 0x80 | size
        out += 2
    elif size < 65536:
        out[1], out[2], out[3] = 0x80 | 126, size >> 8, size & 0xFF
        out += 4
    else:
        raise ValueError("longer than any message of ours")
    cdef uint32_t key = masking_key()
    cdef uint64_t twice = <uint64_t>key << 32 | key, eight
    memcpy(out, &key, 4)
    out += 4
    cdef const char* data = PyBytes_AS_STRING(message)
    cdef Py_ssize_t done = 0
    while done + 8 <= size:
        memcpy(&eight, data + done, 8)
        eight ^= twice
        memcpy(out + done, &eight, 8)
        done += 8
    while done < size:
        out[done] = data[done] ^ (<uint8_t*>&key)[done & 3]
        done += 1
    out += size
    cdef Py_ssize_t taken = c_send(fd, frame, out - frame, MSG_DONTWAIT | MSG_NOSIGNAL)
    if taken == out - frame:
        return b""
    if taken < 0:
        taken = 0
    return PyBytes_FromStringAndSize(<char*>frame + taken, out - frame - taken)
