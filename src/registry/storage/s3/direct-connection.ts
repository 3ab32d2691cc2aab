/** A connection to the storage that is read when it is asked, into buffers that stay. */
import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { descriptorOf } from '../../../layerfs/content/relay.ts'

/** Enough for most of what is small; and enough that a call costs little beside its bytes. */
const bufferSizes = { first: 16 * 1024, full: 256 * 1024 }

/** Without a byte: the server is gone, or its network. */
const idleMs = 20_000

/** An address is no server's name (RFC 6066); certificates are held against it all the same. */
function nameOf(host: string): { readonly servername?: string } {
  return isIP(host) === 0 ? { servername: host } : {}
}

/** A socket that reads when it is asked, into two buffers in turns. */
export class Connection {
  onTaken = () => {}
  onClosed = () => {}
  readonly #socket: Socket
  readonly #buffers = [Buffer.alloc(0), Buffer.alloc(0)]
  #turn = 0
  #size = bufferSizes.first
  #arrived: Buffer | undefined
  #failure: Error | undefined
  #wake = () => {}

  constructor({ protocol, hostname, port }: URL, ca: readonly string[] | undefined) {
    const onread = {
      buffer: () => this.#nextBuffer(),
      callback: (size: number, buffer: Uint8Array) => this.#receive(size, buffer),
    }
    const host = hostname.replace(/^\[|\]$/g, '')
    this.#socket =
      protocol === 'https:'
        ? connectTls({ host, port: Number(port || 443), ...nameOf(host), ca, onread } as object)
        : connect({ host, port: Number(port || 80), onread })
    this.#socket.setNoDelay()
    this.#socket.on('error', error => this.#fail(error))
    this.#socket.on('end', () => this.#fail(new Error('The storage closed the connection')))
    this.#socket.on('close', () => {
      this.#fail(new Error('The connection to the storage broke'))
      this.onClosed()
    })
  }

  get descriptor(): number | undefined {
    return descriptorOf(this.#socket)
  }

  /** Of bytes, a character each. */
  write(text: string): void {
    this.#socket.write(text, 'latin1')
  }

  /** The next bytes, lent until the next but one are asked for. */
  async read(): Promise<Buffer> {
    if (this.#arrived === undefined) {
      this.#socket.resume()
      await new Promise<void>(resolve => {
        const timer = setTimeout(() => {
          this.#fail(new Error(`The storage said nothing for ${idleMs / 1000} seconds`))
        }, idleMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
        if (this.#failure !== undefined) this.#wake()
      })
    }
    const arrived = this.#arrived
    this.#arrived = undefined
    if (arrived === undefined) throw this.#failure ?? new Error('The connection broke')
    return arrived
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #nextBuffer(): Buffer {
    this.#turn = 1 - this.#turn
    const known = this.#buffers[this.#turn]
    if (known?.length === this.#size) return known
    const made = Buffer.allocUnsafeSlow(this.#size)
    this.#buffers[this.#turn] = made
    return made
  }

  /** False: no more, until it is asked for. */
  #receive(size: number, buffer: Uint8Array): boolean {
    this.#arrived = Buffer.from(buffer.buffer, buffer.byteOffset, size)
    if (size === buffer.length) this.#size = bufferSizes.full
    this.#wake()
    return false
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#wake()
  }
}
