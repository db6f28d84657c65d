/* What a test file has started or made is ended and removed when its process ends, however it ends:
 * the runner ends a file that hangs with SIGTERM. Last made, first undone. */
const undo = [];

export function atExit(fn) {
    undo.push(fn);
}

process.on('exit', () => {
    for (const fn of undo.reverse()) {
        try {
            fn();
        } catch (e) {
            console.error(`clean up: ${e.message}`);
        }
    }
});
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(1));
