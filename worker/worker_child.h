/* A worker as a child process of a frontend: it takes its jobs from sockets that it was born with,
 * has no listener, and ends when the frontend closes them. */
#ifndef WORKER_WORKER_CHILD_H
#define WORKER_WORKER_CHILD_H

/* The first argument of a program that is to be such a child. */
#define WORKER_CHILD_COMMAND "internal-worker"
/* Descriptors of its sockets: this one and those after it. */
#define WORKER_CHILD_FD 3
#define WORKER_CHILD_SLOTS_MAX 64

/* argv: program, WORKER_CHILD_COMMAND, number of slots, bytes of address space (0: any), then the
 * frontend's own flags. Returns the exit status. */
int worker_child_main(int argc, char **argv);

#endif
