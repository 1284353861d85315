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

/* ---- bytes ---- */

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

/* ---- a session ---- */

static const char *path_of(const char *name) {
  static char path[4 * MOST_LETTERS];
  if (!*name || *name == '.' || strchr(name, '/') || strlen(name) >= MOST_LETTERS) return NULL;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void empty_folder(void) {
  DIR *opened = opendir(folder);
  for (struct dirent *each; opened && (each = readdir(opened));) {
    const char *path = path_of(each->d_name);
    if (path) unlink(path);
  }
  if (opened) closedir(opened);
  rmdir(folder);
}

/* The rest of: put NAME DATA. */
static int put(int client, const char *name) {
  static char chunk[CHUNK];
  const char *path = path_of(name), *wrong = path ? NULL : "no such name";
  int file = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755) : -1;
  if (path && file < 0) wrong = strerror(errno);
  uint64_t left;
  if (receive_number(client, &left, 8)) return -1;
  while (left) {
    size_t bytes = left < CHUNK ? (size_t)left : CHUNK;
    if (receive_all(client, chunk, bytes)) return -1;
    for (size_t at = 0; file >= 0 && !wrong && at < bytes;) {
      ssize_t written = write(file, chunk + at, bytes - at);
      if (written <= 0) wrong = strerror(errno); else at += (size_t)written;
    }
    left -= bytes;
  }
  if (file >= 0 && close(file) && !wrong) wrong = strerror(errno);
  return wrong ? send_error(client, wrong) : send_number(client, 1, 4) || send_field(client, "ok", 2);
}

static int get(int client, const char *name) {
  static char chunk[CHUNK];
  const char *path = path_of(name);
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  struct stat state;
  if (file < 0 || fstat(file, &state)) return send_error(client, "no such file");
  uint64_t left = (uint64_t)state.st_size;
  int failed = send_number(client, 2, 4) || send_field(client, "ok", 2) || send_number(client, left, 8);
  while (left && !failed) {
    ssize_t got = read(file, chunk, left < CHUNK ? (size_t)left : CHUNK);
    failed = got <= 0 || send_all(client, chunk, (size_t)got);
    left -= got > 0 ? (uint64_t)got : 0;
  }
  close(file);
  return failed ? -1 : 0;
}

static uint64_t milliseconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000u + (uint64_t)time.tv_nsec / 1000000u;
}

static pid_t start(char **words, int out, int err) {
  pid_t child = fork();
  setpgid(child > 0 ? child : 0, 0); /* by both: whoever comes first, it can be killed with all that it starts */
  if (child) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, 0), dup2(out, 1), dup2(err, 2);
  if (!chdir(folder)) execvp(words[0], words);
  dprintf(2, "%s: %s\n", words[0], strerror(errno));
  _exit(127);
}

typedef struct {
  char *text;
  size_t bytes;
} said;

/* Takes in what is printed, as much as there is room for; 0 when that has ended. */
static int take(int from, said *into) {
  static char rest[CHUNK];
  int full = into->bytes + CHUNK > MOST_TEXT;
  ssize_t got = read(from, full ? rest : into->text + into->bytes, CHUNK);
  if (got > 0 && !full) into->bytes += (size_t)got;
  return got > 0;
}

/* run SECONDS WORD... */
static int run(int client, double seconds, char **words) {
  char *all[MOST_WORDS], program[2 * MOST_LETTERS];
  int count = 0, out[2], err[2], status = 0;
  for (char **each = command; *each && count < MOST_WORDS / 2; ++each) all[count++] = *each;
  snprintf(program, sizeof program, "./%s", words[0]);
  all[count++] = program;
  for (char **each = words + 1; *each; ++each) all[count++] = *each;
  all[count] = NULL;
  if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) return send_error(client, strerror(errno));
  pid_t child = start(all, out[1], err[1]);
  close(out[1]), close(err[1]);
  said printed = {malloc(MOST_TEXT), 0}, errors = {malloc(MOST_TEXT), 0};
  uint64_t end = milliseconds() + (uint64_t)(seconds * 1000);
  int late = 0, gone = 0;
  struct pollfd each[3] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}, {client, POLLIN, 0}};
  while (child > 0 && !late && !gone && (each[0].fd >= 0 || each[1].fd >= 0)) {
    uint64_t at = milliseconds();
    late = at >= end || poll(each, 3, (int)(end - at > WAIT_MILLISECONDS ? WAIT_MILLISECONDS : end - at)) < 0;
    if (each[0].revents && !take(out[0], &printed)) each[0].fd = -1;
    if (each[1].revents && !take(err[0], &errors)) each[1].fd = -1;
    gone = each[2].revents != 0; /* nothing is asked for meanwhile: the client has hung up */
  }
  if (late || gone) kill(-child, SIGKILL);
  if (child > 0) waitpid(child, &status, 0);
  if (child > 0) kill(-child, SIGKILL);
  close(out[0]), close(err[0]);
  char code[MOST_LETTERS] = "late";
  if (!late) snprintf(code, sizeof code, "%d", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  int failed = gone || child < 0 || send_number(client, 4, 4) || send_field(client, "ok", 2) ||
               send_field(client, code, strlen(code)) || send_field(client, printed.text, printed.bytes) ||
               send_field(client, errors.text, errors.bytes);
  free(printed.text), free(errors.text);
  return failed ? -1 : 0;
}

static char *receive_text(int client) {
  uint64_t bytes;
  if (receive_number(client, &bytes, 8) || bytes >= MOST_TEXT) return NULL;
  char *text = malloc((size_t)bytes + 1);
  if (receive_all(client, text, (size_t)bytes)) return free(text), NULL;
  text[bytes] = 0;
  return text;
}

static int answered(int client) {
  uint64_t count;
  char *fields[MOST_FIELDS + 1] = {NULL};
  int failed = receive_number(client, &count, 4) || count < 2 || count > MOST_FIELDS;
  int is_put = 0;
  for (uint64_t i = 0; i < count && !failed && !(is_put && i == 2); ++i) {
    failed = !(fields[i] = receive_text(client));
    is_put = !failed && !strcmp(fields[0], "put") && count == 3;
  }
  if (!failed && is_put) failed = put(client, fields[1]);
  else if (!failed && !strcmp(fields[0], "get") && count == 2) failed = get(client, fields[1]);
  else if (!failed && !strcmp(fields[0], "run") && count > 2) failed = run(client, atof(fields[1]), fields + 2);
  else if (!failed) failed = send_error(client, "no such request");
  for (char **each = fields; *each; ++each) free(*each);
  return failed;
}

static void serve(int client) {
  snprintf(folder, sizeof folder, "%s/tilewright-XXXXXX", parent);
  if (!mkdtemp(folder)) {
    send_error(client, strerror(errno));
    return;
  }
  while (!answered(client)) continue;
  empty_folder();
}

/* ---- */

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
