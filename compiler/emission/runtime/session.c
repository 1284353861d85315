/* What one client asks of this device, in a folder that goes with the session; part of server.c. */

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
