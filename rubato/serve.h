/* The server: the roles that -target asks for, in one process. */
#ifndef RUBATO_SERVE_H
#define RUBATO_SERVE_H

/* The server's main: returns the exit status. roles: enum app_role this program can take. */
int serve(int argc, char **argv, const char *program, unsigned roles);

#endif
