/* Whether an object is what the API server would take: the published schemas of Kubernetes, KEDA,
 * Knative and the Prometheus operator, as compiled validators from npm. */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

const packages = {
    'keda.sh': '@kubernetes-models/keda/',
    'serving.knative.dev': '@kubernetes-models/knative/',
    'monitoring.coreos.com': '@kubernetes-models/prometheus-operator/',
};

function modelOf({ apiVersion, kind }) {
    const group = apiVersion.includes('/') ? apiVersion.split('/')[0] : '';
    const model = require(`${packages[group] ?? 'kubernetes-models/'}${apiVersion}`)[kind];
    if (!model) throw new Error(`no schema for ${apiVersion} ${kind}`);
    return model;
}

/* The schemas allow keys they do not name, and the API server drops those in silence. A validator
 * reads every key it knows: what it has not read of an object it has looked into is a key that
 * nobody knows, most often a misspelt one. An object of which it reads nothing is free in its form. */
function watch(value, at, seen) {
    if (value === null || typeof value !== 'object') return value;
    const read = new Set();
    seen.push({ value, at, read });
    const children = new Map();
    return new Proxy(value, {
        get(target, key, receiver) {
            const child = Reflect.get(target, key, receiver);
            if (typeof key === 'symbol') return child;
            read.add(key);
            if (!children.has(key)) children.set(key, watch(child, `${at}/${key}`, seen));
            return children.get(key);
        },
    });
}

/* Throws what is wrong with the object. */
export function validateKube(object) {
    const seen = [];
    modelOf(object).prototype.validate.call(watch(object, '', seen));
    for (const { value, at, read } of seen) {
        if (Array.isArray(value) || read.size === 0) continue;
        for (const key of Object.keys(value))
            if (!read.has(key)) throw new Error(`${at}/${key} is not known`);
    }
}
