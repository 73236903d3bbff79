"""`speedups.py` in C. That file is the reference."""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy

cdef extern from "<arpa/inet.h>" nogil:
    uint16_t htons(uint16_t)
    uint16_t ntohs(uint16_t)
    uint32_t htonl(uint32_t)
    uint32_t ntohl(uint32_t)

cdef enum:
    HEADER = 12
    ENTRY = 15

DATAGRAM_LIMIT = LIMIT
ENTRY_SIZE = ENTRY


cpdef (int, int, long long, long long) unpack_rtp(bytes datagram):
    cdef uint16_t shorts[2]
    cdef uint32_t longs[2]
    if len(datagram) < HEADER:
        raise ValueError("shorter than the RTP header")
    memcpy(shorts, PyBytes_AS_STRING(datagram), 4)
    memcpy(longs, PyBytes_AS_STRING(datagram) + 4, 8)
    return ntohs(shorts[0]), ntohs(shorts[1]), ntohl(longs[0]), ntohl(longs[1])


cpdef bytes payload(bytes datagram, Py_ssize_t start):
    if start < 0 or start > len(datagram):
        raise ValueError("not within the datagram")
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(datagram) + start, len(datagram) - start)


cpdef bytes pack_rtp(int first, int sequence, long long timestamp, long long ssrc, bytes payload):
    cdef uint16_t shorts[2]
    cdef uint32_t longs[2]
    cdef bytes packet = PyBytes_FromStringAndSize(NULL, HEADER + len(payload))
    cdef char* out = PyBytes_AS_STRING(packet)
    shorts[0], shorts[1] = htons(first), htons(sequence)
    longs[0], longs[1] = htonl(timestamp), htonl(ssrc)
    memcpy(out, shorts, 4)
    memcpy(out + 4, longs, 8)
    memcpy(out + HEADER, PyBytes_AS_STRING(payload), len(payload))
    return packet


cdef inline char* text(char* out, const char* what, Py_ssize_t size) noexcept nogil:
    memcpy(out, what, size)
    return out + size


cdef inline char* decimal(char* out, unsigned long long number) noexcept nogil:
    cdef char digits[20]
    cdef int left = 20
    while True:
        left -= 1
        digits[left] = <char>(48 + number % 10)
        number //= 10
        if number == 0:
            return text(out, digits + left, 20 - left)


cdef const char* ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
cdef char PAIRS[4096][2]
for twelve_bits in range(4096):
    PAIRS[twelve_bits][0], PAIRS[twelve_bits][1] = ALPHABET[twelve_bits >> 6], ALPHABET[twelve_bits & 63]


cdef inline char* base64(char* out, const uint8_t* data, Py_ssize_t size) noexcept nogil:
    """RFC 4648 section 4, with padding."""
    cdef uint32_t group
    while size >= 3:
        group = data[0] << 16 | data[1] << 8 | data[2]
        memcpy(out, PAIRS[group >> 12], 2)
        memcpy(out + 2, PAIRS[group & 4095], 2)
        data, size, out = data + 3, size - 3, out + 4
    if size:
        group = data[0] << 16 | (data[1] << 8 if size == 2 else 0)
        out[0], out[1] = ALPHABET[group >> 18], ALPHABET[group >> 12 & 63]
        out[2], out[3] = ALPHABET[group >> 6 & 63] if size == 2 else b"=", b"="
        out += 4
    return out


cdef enum:
    # The constant parts, three numbers of at most twenty digits.
    FRAME = 36 + 15 + 13 + 3 + 3 * 20


cpdef bytes encode_media(bytes prefix, long long sequence, long long chunk, long long timestamp, bytes payload):
    cdef char room[4096]
    cdef Py_ssize_t size = len(payload)
    cdef Py_ssize_t most = FRAME + len(prefix) + (size + 2) // 3 * 4
    cdef bytes long_one = None
    cdef char* start = room
    if most > 4096:
        long_one = PyBytes_FromStringAndSize(NULL, most)
        start = PyBytes_AS_STRING(long_one)
    cdef char* out = text(start, b'{"event":"media","sequence_number":"', 36)
    out = decimal(out, sequence)
    out = text(out, PyBytes_AS_STRING(prefix), len(prefix))
    out = decimal(out, chunk)
    out = text(out, b'","timestamp":"', 15)
    out = decimal(out, timestamp)
    out = text(out, b'","payload":"', 13)
    out = base64(out, <const uint8_t*>PyBytes_AS_STRING(payload), size)
    out = text(out, b'"}}', 3)
    return PyBytes_FromStringAndSize(start, out - start)


cdef enum:
    NONE = 0xFF000000

cdef uint32_t PLACES[4][256]
"""Value of a character in each place of its group; `NONE` if it is not in the alphabet."""
for place in range(4):
    for code in range(256):
        PLACES[place][code] = NONE
    for six_bits in range(64):
        PLACES[place][<uint8_t>ALPHABET[six_bits]] = six_bits << 18 - 6 * place


cdef bytes unbase64(const uint8_t* data, Py_ssize_t size):
    """Decode RFC 4648 base64; b"" if it is not canonical."""
    cdef Py_ssize_t padding = 0
    if size < 4 or size & 3:
        return b""
    if data[size - 1] == 61:
        padding = 2 if data[size - 2] == 61 else 1
    cdef bytes decoded = PyBytes_FromStringAndSize(NULL, size // 4 * 3 - padding)
    cdef uint8_t* out = <uint8_t*>PyBytes_AS_STRING(decoded)
    cdef const uint8_t* last = data + size - (4 if padding else 0)
    cdef uint32_t group, seen = 0
    while data < last:
        group = PLACES[0][data[0]] | PLACES[1][data[1]] | PLACES[2][data[2]] | PLACES[3][data[3]]
        seen |= group
        out[0], out[1], out[2] = group >> 16 & 0xFF, group >> 8 & 0xFF, group & 0xFF
        data, out = data + 4, out + 3
    if padding:
        group = PLACES[0][data[0]] | PLACES[1][data[1]]
        if padding == 1:
            group |= PLACES[2][data[2]]
            out[1] = group >> 8 & 0xFF
        out[0] = group >> 16 & 0xFF
        seen |= group
        if group & (0xFFFF if padding == 2 else 0xFF):
            return b""  # unused bits are set
    return b"" if seen & NONE else decoded


cdef const char* COMPACT = b'{"event":"media","media":{"payload":"'
cdef const char* SPACED = b'{"event": "media", "media": {"payload": "'


cpdef bytes decode_media_fast(bytes message):
    cdef const char* data = PyBytes_AS_STRING(message)
    cdef Py_ssize_t size = len(message), head
    if size > 37 and memcmp(data, COMPACT, 37) == 0:
        head = 37
    elif size > 41 and memcmp(data, SPACED, 41) == 0:
        head = 41
    else:
        return b""
    if size < head + 3 or memcmp(data + size - 3, b'"}}', 3) != 0:
        return b""
    return unbase64(<const uint8_t*>data + head, size - head - 3)


cpdef pack_entry(bytearray journal, Py_ssize_t start, long long at, bint outbound, long long missing, bytes payload):
    cdef int64_t time = at
    cdef uint8_t track = outbound
    cdef uint16_t size = len(payload)
    cdef uint32_t lost = missing
    if start < 0 or start + ENTRY + size > len(journal):
        raise ValueError("there is no room")
    cdef char* out = PyByteArray_AS_STRING(journal) + start
    memcpy(out, &time, 8)
    memcpy(out + 8, &track, 1)
    memcpy(out + 9, &size, 2)
    memcpy(out + 11, &lost, 4)
    memcpy(out + ENTRY, PyBytes_AS_STRING(payload), size)


cpdef (long long, bint, int, long long) unpack_entry(bytearray journal, Py_ssize_t start):
    cdef int64_t time
    cdef uint8_t track
    cdef uint16_t size
    cdef uint32_t lost
    if start < 0 or start + ENTRY > len(journal):
        raise ValueError("no entry begins there")
    cdef const char* entry = PyByteArray_AS_STRING(journal) + start
    memcpy(&time, entry, 8)
    memcpy(&track, entry + 8, 1)
    memcpy(&size, entry + 9, 2)
    memcpy(&lost, entry + 11, 4)
    return time, track, size, lost
