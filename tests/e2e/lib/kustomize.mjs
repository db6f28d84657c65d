/* What `kubectl kustomize` makes of a directory, for the fields that infra/kubernetes uses: resources,
 * components, namespace, images, replicas, patches (merged, or JSON patches that remove) and
 * configMapGenerator without the hash in the name. A field it does not know is an error, so nothing
 * is silently left out. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import YAML from 'yaml';

/* The documents of a file. Every fault of the YAML, duplicate keys too, is an error. */
export function readYaml(file) {
    const docs = YAML.parseAllDocuments(fs.readFileSync(file, 'utf8'), { strict: true });
    for (const doc of docs)
        for (const fault of [...doc.errors, ...doc.warnings])
            throw new Error(`${file}: ${fault.message}`);
    return docs.map((doc) => doc.toJS());
}

const clusterWide = new Set(['Namespace']);

/* A strategic merge as far as ours go: maps merge, lists whose members have names merge by name, all
 * else is replaced. */
function mergePatch(into, patch) {
    if (Array.isArray(patch)) {
        if (!Array.isArray(into) || !patch.every((item) => item?.name)) return patch;
        const out = [...into];
        for (const item of patch) {
            const at = out.findIndex((have) => have.name === item.name);
            if (at < 0) out.push(item);
            else out[at] = mergePatch(out[at], item);
        }
        return out;
    }
    if (patch === null || typeof patch !== 'object') return patch;
    const out = { ...into };
    for (const [key, value] of Object.entries(patch)) out[key] = mergePatch(out[key], value);
    return out;
}

function applyPatch(objects, { path: file, patch, target, ...rest }, dir) {
    assert.deepEqual(rest, {}, `${dir}: fields of a patch that are not known here`);
    const hit = objects.filter(
        (o) => o.kind === target.kind && (!target.name || o.metadata.name === target.name),
    );
    assert.ok(hit.length, `${dir}: a patch whose target ${JSON.stringify(target)} is not there`);
    if (patch) {
        for (const { op, path: pointer, ...more } of YAML.parse(patch)) {
            assert.equal(op, 'remove');
            assert.deepEqual(more, {});
            const keys = pointer.split('/').slice(1);
            const last = keys.pop();
            for (const o of hit) {
                const parent = keys.reduce((at, key) => at[key], o);
                assert.ok(last in parent, `${dir}: nothing to remove at ${pointer}`);
                delete parent[last];
            }
        }
        return;
    }
    const [{ metadata: _, ...changes }] = readYaml(path.join(dir, file));
    for (const o of hit) Object.assign(o, mergePatch(o, changes));
}

function containersOf(o) {
    const spec = o.spec?.template?.spec;
    return [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])];
}

export function kustomize(dir, objects = []) {
    const [{ apiVersion, kind, ...k }] = readYaml(path.join(dir, 'kustomization.yaml'));
    assert.match(
        `${apiVersion} ${kind}`,
        /^kustomize\.config\.k8s\.io\/(v1beta1 Kustomization|v1alpha1 Component)$/,
    );
    const { namespace, resources, components, configMapGenerator, images, replicas, patches } = k;
    const known = { namespace, resources, components, configMapGenerator, images, replicas, patches };
    for (const field of Object.keys(k)) assert.ok(field in known, `${dir}: field ${field}`);

    for (const name of resources ?? []) {
        const at = path.join(dir, name);
        objects.push(...(fs.statSync(at).isDirectory() ? kustomize(at) : readYaml(at)));
    }
    for (const { name, files, ...more } of configMapGenerator ?? []) {
        assert.deepEqual(more, {});
        const data = Object.fromEntries(
            files.map((f) => [path.basename(f), fs.readFileSync(path.join(dir, f), 'utf8')]),
        );
        objects.push({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data });
    }
    for (const name of components ?? []) kustomize(path.join(dir, name), objects);
    for (const patch of patches ?? []) applyPatch(objects, patch, dir);
    for (const { name, count } of replicas ?? []) {
        const o = objects.find((x) => x.kind === 'Deployment' && x.metadata.name === name);
        assert.ok(o, `${dir}: replicas of ${name}, which is not there`);
        o.spec.replicas = count;
    }
    for (const { name, newName, newTag } of images ?? [])
        for (const c of objects.flatMap(containersOf))
            if (c.image === name) c.image = `${newName}:${newTag}`;
    if (namespace)
        for (const o of objects)
            if (!clusterWide.has(o.kind)) o.metadata = { ...o.metadata, namespace };
    return objects;
}
