/* One HTTP request over node:http: a connection of its own unless an agent is given, so that no
 * pooled connection of a killed process is met by a later test. */
import http from 'node:http';
import https from 'node:https';
import zlib from 'node:zlib';

export function request(
    url,
    { method = 'GET', headers = {}, body, agent, timeoutMs = 60000 } = {},
) {
    return new Promise((resolve, reject) => {
        const make = url.startsWith('https:') ? https.request : http.request;
        const req = make(
            url,
            { method, headers, agent: agent ?? false, timeout: timeoutMs },
            (res) => {
                const parts = [];
                res.on('data', (d) => parts.push(d));
                res.on('error', reject);
                res.on('aborted', () => reject(new Error(`${method} ${url}: answer cut off`)));
                res.on('end', () => {
                    let bytes = Buffer.concat(parts);
                    if (res.headers['content-encoding'] === 'gzip') bytes = zlib.gunzipSync(bytes);
                    resolve({
                        status: res.statusCode,
                        headers: res.headers,
                        bytes,
                        text: bytes.toString(),
                    });
                });
            },
        );
        req.on('timeout', () =>
            req.destroy(new Error(`${method} ${url}: no answer in ${timeoutMs} ms`)),
        );
        req.on('error', reject);
        req.end(body);
    });
}
