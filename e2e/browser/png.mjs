// Makes a PNG of a page smaller without changing a pixel: what is flat packs better unfiltered than as browsers write it.
import { crc32, deflateSync, inflateSync } from 'node:zlib';

const SIGNATURE = 8;
const CHANNELS = { 2: 3, 6: 4 };

export function repacked(png) {
    const chunks = chunksOf(png);
    const header = chunks.find(({ type }) => type === 'IHDR').data;
    const channels = CHANNELS[header[9]];
    if (header[8] !== 8 || channels === undefined || header[12] !== 0) return png;
    const stride = header.readUInt32BE(0) * channels;
    const filtered = inflateSync(Buffer.concat(chunks.filter(({ type }) => type === 'IDAT').map(({ data }) => data)));
    const data = deflateSync(unfiltered(filtered, stride, channels), { level: 9, memLevel: 9 });
    const smaller = Buffer.concat([png.subarray(0, SIGNATURE), chunk('IHDR', header), chunk('IDAT', data), chunk('IEND', Buffer.alloc(0))]);
    return smaller.length < png.length ? smaller : png;
}

function chunksOf(png) {
    const chunks = [];
    for (let at = SIGNATURE; at < png.length; ) {
        const length = png.readUInt32BE(at);
        chunks.push({ type: png.toString('latin1', at + 4, at + 8), data: png.subarray(at + 8, at + 8 + length) });
        at += 12 + length;
    }
    return chunks;
}

function chunk(type, data) {
    const out = Buffer.alloc(12 + data.length);
    out.writeUInt32BE(data.length, 0);
    out.write(type, 4, 'latin1');
    data.copy(out, 8);
    out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length);
    return out;
}

/** Each row begins with its filter; here all become 0, "none". */
function unfiltered(rows, stride, channels) {
    for (let start = 1; start < rows.length; start += stride + 1) {
        const filter = rows[start - 1];
        rows[start - 1] = 0;
        for (let x = 0; x < stride; x++) {
            const left = x >= channels ? rows[start + x - channels] : 0;
            const up = start > 1 ? rows[start + x - stride - 1] : 0;
            const corner = start > 1 && x >= channels ? rows[start + x - stride - 1 - channels] : 0;
            rows[start + x] += [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
        }
    }
    return rows;
}

function paeth(left, up, corner) {
    const guess = left + up - corner;
    const [toLeft, toUp, toCorner] = [left, up, corner].map((value) => Math.abs(guess - value));
    if (toLeft <= toUp && toLeft <= toCorner) return left;
    return toUp <= toCorner ? up : corner;
}
