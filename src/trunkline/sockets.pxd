cpdef list epoll_ready(object epoll, int most)
cpdef bytes receive(int fd)
cpdef send(int fd, bytes datagram)
cpdef bytes send_text(int fd, bytes message)
