/* Policies in AWS's language, as far as infra/ writes them, and the S3 actions of requests. */
import assert from 'node:assert/strict';

const listOf = (x) => (Array.isArray(x) ? x : [x]);

const matches = (pattern, text) =>
    new RegExp(
        `^${pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.')}$`,
    ).test(text);

export function allows(policy, action, resource) {
    assert.equal(policy.Version, '2012-10-17');
    return policy.Statement.some((s) => {
        assert.equal(s.Effect, 'Allow', 'what is not allowed is forbidden anyway');
        return (
            listOf(s.Action).some((a) => matches(a, action)) &&
            listOf(s.Resource).some((r) => matches(r, resource))
        );
    });
}

/* What a request of lib/fake-s3.mjs asks for: [action, resource]. */
export function actionOf({ method, bucket, key, query }) {
    if (!key) return [method === 'GET' ? 's3:ListBucket' : `s3:${method}`, `arn:aws:s3:::${bucket}`];
    const action = {
        GET: 's3:GetObject',
        HEAD: 's3:GetObject',
        PUT: 's3:PutObject',
        POST: 's3:PutObject',
        DELETE: query.has('uploadId') ? 's3:AbortMultipartUpload' : 's3:DeleteObject',
    }[method];
    return [action ?? `s3:${method}`, `arn:aws:s3:::${bucket}/${key}`];
}
