cpdef list ready(object poller, int most)
cpdef bytes receive(int fd)
cpdef send(int fd, bytes datagram)
cpdef bytes send_text(int fd, bytes message)
