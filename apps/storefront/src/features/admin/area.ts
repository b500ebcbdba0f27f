// The entry of the admin chunk: what the router asks for by name, so that one file holds the whole area.
export { BooksPage } from './books-page';
export { EditBookPage } from './edit-book-page';
export { LowStockPage } from './low-stock-page';
export { NewBookPage } from './new-book-page';
export { AdminOrderPage } from './order-page';
export { AdminOrdersPage } from './orders-page';
export { StockPage } from './stock-page';
export { SummaryPage } from './summary-page';
