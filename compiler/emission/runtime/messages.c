/* What the tracker and clients are sent, and what comes from them; part of server.c. All return 0, or -1: the other side
 * is gone. */

static int send_all(int to, const void *data, size_t bytes) {
  const char *at = data;
  while (bytes) {
    ssize_t sent = send(to, at, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return -1;
    at += sent, bytes -= (size_t)sent;
  }
  return 0;
}

static int receive_all(int from, void *data, size_t bytes) {
  char *at = data;
  while (bytes) {
    ssize_t got = recv(from, at, bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return -1;
    at += got, bytes -= (size_t)got;
  }
  return 0;
}

static int send_number(int to, uint64_t number, int bytes) {
  unsigned char data[8];
  for (int i = 0; i < bytes; ++i) data[i] = (unsigned char)(number >> 8 * i);
  return send_all(to, data, (size_t)bytes);
}

static int receive_number(int from, uint64_t *number, int bytes) {
  unsigned char data[8];
  if (receive_all(from, data, (size_t)bytes)) return -1;
  *number = 0;
  for (int i = 0; i < bytes; ++i) *number |= (uint64_t)data[i] << 8 * i;
  return 0;
}

static int send_field(int to, const void *data, size_t bytes) {
  return send_number(to, bytes, 8) || send_all(to, data, bytes) ? -1 : 0;
}

static int send_error(int to, const char *text) {
  return send_number(to, 2, 4) || send_field(to, "error", 5) || send_field(to, text, strlen(text)) ? -1 : 0;
}
