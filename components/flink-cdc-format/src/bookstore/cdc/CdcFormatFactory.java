package bookstore.cdc;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.catalog.UniqueConstraint;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.utils.DataTypeUtils;

/**
 * Format {@code bookstore-cdc}: Debezium's JSON without schemas. A record that its table cannot hold becomes a row of its own, whose
 * metadata {@code reason} is not null, and never an error: Flink's own format stops the job for ever at the first such record.
 *
 * <p>Metadata: {@code reason}, null in rows that can be applied; {@code raw}, the record of the others, of which at most
 * {@link CdcDeserializer#RAW_BYTES} are kept.
 */
public final class CdcFormatFactory implements DeserializationFormatFactory {

    private static final Map<String, DataType> METADATA = new LinkedHashMap<>();

    static {
        METADATA.put("reason", DataTypes.STRING().nullable());
        METADATA.put("raw", DataTypes.BYTES().nullable());
    }

    @Override
    public String factoryIdentifier() {
        return "bookstore-cdc";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of();
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of();
    }

    @Override
    public DecodingFormat<DeserializationSchema<RowData>> createDecodingFormat(DynamicTableFactory.Context context, ReadableConfig options) {
        FactoryUtil.validateFactoryOptions(this, options);
        List<String> keys = context.getCatalogTable().getResolvedSchema().getPrimaryKey().map(UniqueConstraint::getColumns).orElse(List.of());
        if (keys.isEmpty()) {
            throw new ValidationException("Format bookstore-cdc: the table has no primary key, and deletions have nothing else; declare"
                + " PRIMARY KEY (...) NOT ENFORCED");
        }
        return new Format(keys);
    }

    private static final class Format implements DecodingFormat<DeserializationSchema<RowData>> {

        private final List<String> keys;
        private List<String> metadata = List.of();

        Format(List<String> keys) {
            this.keys = keys;
        }

        @Override
        public Map<String, DataType> listReadableMetadata() {
            return METADATA;
        }

        @Override
        public void applyReadableMetadata(List<String> wanted) {
            metadata = wanted;
        }

        /**
         * All kinds, although an update comes without its old row: sinks are keyed, so they need none. It also keeps the planner from
         * rebuilding old rows in state, which would hold a copy of every table.
         */
        @Override
        public ChangelogMode getChangelogMode() {
            return ChangelogMode.all();
        }

        @Override
        public DeserializationSchema<RowData> createRuntimeDecoder(DynamicTableSource.Context context, DataType physical) {
            List<DataTypes.Field> added = new ArrayList<>();
            for (String name : metadata) {
                added.add(DataTypes.FIELD(name, METADATA.get(name)));
            }
            TypeInformation<RowData> produced = context.createTypeInformation(DataTypeUtils.appendRowFields(physical, added));
            return new CdcDeserializer(Column.of((RowType) physical.getLogicalType(), keys), metadata, produced);
        }
    }
}
