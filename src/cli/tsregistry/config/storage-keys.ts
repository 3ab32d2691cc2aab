/** The keys below `storage`. */
import { type Key, own } from './key.ts'

const s3: readonly Key[] = [
  own('storage.s3.bucket', 'string', 'The bucket; required for S3'),
  own('storage.s3.rootdirectory', 'string', 'Where in the bucket to store'),
  own('storage.s3.region', 'string', 'The region of the bucket'),
  own('storage.s3.regionendpoint', 'string', 'The address of the S3 server, when it is not Amazon'),
  {
    ...own(
      'storage.s3.secure',
      'boolean',
      'Whether an endpoint that is only a host is reached by https',
    ),
    default: true,
  },
  own(
    'storage.s3.forcepathstyle',
    'boolean',
    'The bucket in the path instead of the host name; with an endpoint the default is true',
  ),
  own(
    'storage.s3.accesskey',
    'string',
    'With secretkey; else AWS_ACCESS_KEY_ID, else the role of the machine',
  ),
  own('storage.s3.secretkey', 'string', 'With accesskey'),
  own('storage.s3.sessiontoken', 'string', 'With accesskey'),
  own(
    'storage.s3.chunksize',
    'integer',
    'Bytes of each part of a large blob; else parts grow with the blob',
  ),
  { path: 'storage.s3.v4auth', type: 'boolean', use: 'refused', unless: [true], help: 'Always on' },
  ...['accelerate', 'encrypt', 'skipverify', 'usedualstack', 'usefipsendpoint'].map(
    (name): Key => ({
      path: `storage.s3.${name}`,
      type: 'boolean',
      use: 'refused',
      unless: [false],
      help: 'Set it on the bucket, or leave it out',
    }),
  ),
  {
    path: 'storage.s3.storageclass',
    type: 'string',
    use: 'refused',
    unless: ['STANDARD'],
    help: 'Set it on the bucket, or leave it out',
  },
  ...['keyid', 'objectacl', 'useragent'].map(
    (name): Key => ({
      path: `storage.s3.${name}`,
      type: 'string',
      use: 'refused',
      help: 'Set it on the bucket, or leave it out',
    }),
  ),
  ...[
    'loglevel',
    'multipartcopychunksize',
    'multipartcopymaxconcurrency',
    'multipartcopythresholdsize',
  ].map(
    (name): Key => ({
      path: `storage.s3.${name}`,
      type: 'any',
      use: 'accepted',
      help: 'Blobs are written where they stay: nothing is copied',
    }),
  ),
]

export const storageKeys: readonly Key[] = [
  {
    path: 'storage.filesystem.rootdirectory',
    type: 'string',
    use: 'taken',
    flag: 'root',
    help: 'The folder to store in',
  },
  {
    path: 'storage.filesystem.maxthreads',
    type: 'integer',
    use: 'accepted',
    help: 'The number of threads is the number of UV_THREADPOOL_SIZE',
  },
  ...s3,
  ...['azure', 'gcs', 'inmemory', 'oss', 'swift'].map(
    (name): Key => ({
      path: `storage.${name}`,
      type: 'any',
      use: 'refused',
      help: 'Use storage.filesystem or storage.s3',
    }),
  ),
  {
    path: 'storage.delete.enabled',
    type: 'boolean',
    use: 'taken',
    flag: 'delete',
    default: false,
    reload: true,
    help: 'Whether clients may delete; as in distribution, not unless the file says so',
  },
  {
    path: 'storage.redirect.disable',
    type: 'boolean',
    use: 'taken',
    default: true,
    help: 'false: clients fetch blobs from the bucket itself',
  },
  {
    path: 'storage.maintenance.readonly.enabled',
    type: 'boolean',
    use: 'taken',
    flag: 'read-only',
    default: false,
    reload: true,
    help: 'Everything that would change something is answered 405',
  },
  {
    path: 'storage.maintenance.uploadpurging.enabled',
    type: 'boolean',
    use: 'taken',
    default: true,
    help: 'Whether uploads that nobody goes on with are removed',
  },
  {
    path: 'storage.maintenance.uploadpurging.age',
    type: 'duration',
    use: 'taken',
    flag: 'upload-expiry',
    default: '168h',
    help: 'After which they are',
  },
  {
    path: 'storage.maintenance.uploadpurging.interval',
    type: 'duration',
    use: 'taken',
    help: 'How often to look for them, beside each collection of garbage',
  },
  {
    path: 'storage.maintenance.uploadpurging.dryrun',
    type: 'boolean',
    use: 'taken',
    default: false,
    help: 'Say in the log which would be removed, each interval (24h), and remove none',
  },
  {
    path: 'storage.cache',
    type: 'any',
    use: 'accepted',
    help: 'There is nothing to cache: a blob is found by one look at the storage',
  },
  {
    path: 'storage.tag',
    type: 'any',
    use: 'accepted',
    help: 'Tags are found by one look at the storage, whatever their number',
  },
]
