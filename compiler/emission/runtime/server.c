/* Lets a device of a farm be used from afar: it is offered to TVM's RPC tracker, and does what a session asks for.
 *
 *     server HOST:PORT KEY [COMMAND...]
 *
 * The tracker (python -m tvm.exec.rpc_tracker) is at HOST:PORT; KEY is what devices of this kind are asked for by.
 * Programs are started by COMMAND, where there is one: an emulator. One session at a time. Whoever reaches the tracker
 * can run programs here: this is for networks that one trusts.
 *
 * A session begins as TVM's: the client sends the magic number, and the length and text of "client:" and the random key
 * that the tracker gave it; the answer is the magic number and "tilewright:KEY". Then come requests, each with an answer
 * of the same form: a uint32, how many fields there are, and for each a uint64, its length, and its bytes; all numbers in
 * little-endian order.
 *
 *     put NAME DATA               a file                          ok
 *     run SECONDS WORD...         a program among the files       ok CODE STDOUT STDERR       CODE: 128 + the signal of one
 *     get NAME                    a file                          ok DATA                     that died; "late": killed
 *
 * What fails is answered by: error TEXT. Files go with the session, and what runs does when its client is gone.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAGIC = 0xFF271, MISMATCH = 0xFF273, TRACKER_MAGIC = 0x2F271 };
enum { PUT = 3, UPDATE_INFO = 5, PENDING = 7 }; /* codes of the tracker */
enum { MOST_LETTERS = 256, MOST_FIELDS = 64, MOST_TEXT = 1 << 20, CHUNK = 1 << 16, MOST_WORDS = 128 };
enum { WAIT_MILLISECONDS = 2000, MOST_UNUSED = 3 };

static char **command; /* what starts programs, ended by NULL */
static char folder[2 * MOST_LETTERS], parent[MOST_LETTERS];

#include "messages.c"

/* ---- the tracker ---- */

static int connected(const char *host, const char *port) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
  if (getaddrinfo(host, port, &hints, &found)) return -1;
  int made = -1;
  for (struct addrinfo *each = found; each && made < 0; each = each->ai_next) {
    made = socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol);
    if (made >= 0 && connect(made, each->ai_addr, each->ai_addrlen)) close(made), made = -1;
  }
  freeaddrinfo(found);
  return made;
}

/* A request of the tracker in JSON, and its answer. */
static int ask(int tracker, const char *request, char *answer) {
  uint64_t bytes;
  if (send_number(tracker, strlen(request), 4) || send_all(tracker, request, strlen(request))) return -1;
  if (receive_number(tracker, &bytes, 4) || bytes >= MOST_TEXT || receive_all(tracker, answer, bytes)) return -1;
  answer[bytes] = 0;
  return 0;
}

/* A socket that listens where the tracker sees this machine, on a port of the system's choice. */
static int listening(int tracker, int *port) {
  struct sockaddr_storage here;
  socklen_t size = sizeof here;
  if (getsockname(tracker, (struct sockaddr *)&here, &size)) return -1;
  in_port_t *number =
      here.ss_family == AF_INET6 ? &((struct sockaddr_in6 *)&here)->sin6_port : &((struct sockaddr_in *)&here)->sin_port;
  *number = 0;
  int made = socket(here.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (made < 0 || bind(made, (struct sockaddr *)&here, size) || listen(made, 4)) return -1;
  if (getsockname(made, (struct sockaddr *)&here, &size)) return -1;
  *port = ntohs(*number);
  return made;
}

static int offer(int tracker, const char *key, int port, char *match, char *text) {
  char request[4 * MOST_LETTERS];
  unsigned number;
  int random = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
  if (random < 0 || read(random, &number, sizeof number) != sizeof number) number = (unsigned)time(NULL) ^ (unsigned)getpid();
  if (random >= 0) close(random);
  snprintf(match, 2 * MOST_LETTERS, "%s:%08x", key, number);
  snprintf(request, sizeof request, "[%d, \"%s\", [%d, \"%s\"], null]", PUT, key, port, match);
  return ask(tracker, request, text);
}

#include "session.c"

/* ---- a client ---- */

/* Whether a client knows the key that the tracker gives away. */
static int greeted(int client, const char *key, const char *match) {
  char text[2 * MOST_LETTERS], expected[3 * MOST_LETTERS];
  uint64_t magic, bytes;
  if (receive_number(client, &magic, 4) || magic != MAGIC || receive_number(client, &bytes, 4)) return 0;
  if (bytes >= sizeof text || receive_all(client, text, bytes)) return 0;
  text[bytes] = 0;
  text[strcspn(text, " ")] = 0; /* options of TVM's follow */
  snprintf(expected, sizeof expected, "client:%s", match);
  if (strcmp(text, expected)) return send_number(client, MISMATCH, 4), 0;
  snprintf(text, sizeof text, "tilewright:%s", key);
  return !send_number(client, MAGIC, 4) && !send_number(client, strlen(text), 4) && !send_all(client, text, strlen(text));
}

/* Offers this device again and again, until the tracker is gone. */
static void offer_to(int tracker, const char *key) {
  static char text[MOST_TEXT];
  char match[2 * MOST_LETTERS], request[2 * MOST_LETTERS];
  uint64_t magic;
  int port = 0, unused = 0;
  if (send_number(tracker, TRACKER_MAGIC, 4) || receive_number(tracker, &magic, 4) || magic != TRACKER_MAGIC) {
    fprintf(stderr, "no RPC tracker answers there\n");
    return;
  }
  int listener = listening(tracker, &port);
  snprintf(request, sizeof request, "[%d, {\"key\": \"server:%s\", \"addr\": [null, %d]}]", UPDATE_INFO, key, port);
  if (listener < 0 || ask(tracker, request, text) || offer(tracker, key, port, match, text)) return;
  printf("waiting on port %d as %s\n", port, key);
  fflush(stdout);
  for (;;) {
    struct pollfd waits = {listener, POLLIN, 0};
    if (poll(&waits, 1, WAIT_MILLISECONDS) <= 0) {
      snprintf(request, sizeof request, "[%d]", PENDING);
      if (ask(tracker, request, text)) break;
      unused = strstr(text, match) ? 0 : unused + 1;
      if (unused <= MOST_UNUSED) continue; /* given to a client that may come yet */
    } else {
      int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
      if (client < 0) continue;
      setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      int is_ours = greeted(client, key, match);
      if (is_ours) serve(client);
      close(client);
      if (!is_ours) continue;
    }
    unused = 0;
    if (offer(tracker, key, port, match, text)) break;
  }
  close(listener);
}

int main(int count, char **arguments) {
  char *colon = count > 2 ? strrchr(arguments[1], ':') : NULL;
  const char *allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  if (!colon || !*arguments[2] || strspn(arguments[2], allowed) != strlen(arguments[2]) ||
      strlen(arguments[2]) >= MOST_LETTERS / 2) {
    fprintf(stderr, "usage: server HOST:PORT KEY [COMMAND...]\n");
    return 2;
  }
  const char *temporary = getenv("TMPDIR");
  snprintf(parent, sizeof parent, "%.200s", temporary && *temporary ? temporary : "/tmp");
  *colon = 0;
  command = arguments + 3;
  signal(SIGPIPE, SIG_IGN);
  for (;; sleep(2)) {
    int tracker = connected(arguments[1], colon + 1);
    if (tracker < 0) {
      fprintf(stderr, "the tracker %s:%s cannot be reached\n", arguments[1], colon + 1);
      continue;
    }
    offer_to(tracker, arguments[2]);
    close(tracker);
  }
}
