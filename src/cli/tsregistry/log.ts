/** The server's log: JSON lines on stderr, without secrets. */
import { type Logger, pino } from 'pino'

export function createLog(
  level: 'error' | 'warn' | 'info' | 'debug',
  fields: Readonly<Record<string, unknown>> = {},
): Logger {
  return pino(
    {
      level,
      base: fields,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      redact: {
        paths: [
          'authorization',
          '*.authorization',
          'headers.authorization',
          '*.headers.authorization',
        ],
        censor: '[redacted]',
      },
    },
    pino.destination({ dest: 2, sync: true }),
  )
}
