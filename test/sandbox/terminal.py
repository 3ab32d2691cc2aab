"""Runs argv under a terminal of 33 lines and 77 columns and plays what stdin says.

Each line of stdin is "PATTERN\\tREPLY": waits until the output has PATTERN, then types REPLY (with
Python's escapes), or resizes the terminal for a reply of "RESIZE lines columns". Prints the
whole output, then whether the terminal was in its first state again at the end, and the exit code.
"""
import codecs, fcntl, os, pty, select, struct, sys, termios


def resize(fd, lines, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', lines, columns, 0, 0))


plays = [line.rstrip('\n').split('\t') for line in sys.stdin]
master, slave = pty.openpty()
resize(master, 33, 77)
before = termios.tcgetattr(slave)
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in range(3):
        os.dup2(slave, fd)
    os.execvp(sys.argv[1], sys.argv[1:])
output = b''
seen = 0
ended = None
while True:
    ready, _, _ = select.select([master], [], [], 0.1)
    if ready:
        output += os.read(master, 65536)
    elif ended is not None:
        break
    if plays and plays[0][0].encode() in output[seen:]:
        seen = output.index(plays[0][0].encode(), seen) + len(plays[0][0])
        reply = plays.pop(0)[1]
        if reply.startswith('RESIZE '):
            resize(master, *map(int, reply.split()[1:]))
        else:
            os.write(master, codecs.decode(reply, 'unicode_escape').encode())
    if ended is None:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            ended = os.waitstatus_to_exitcode(status)
sys.stdout.buffer.write(output)
restored = termios.tcgetattr(slave) == before
print('\n[restored]' if restored else '\n[changed]', f'[exit {ended}]')
